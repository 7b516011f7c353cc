/* What the report uses of linkedom, whose own types are for pages. */
export declare function parseHTML(html: string): { document: object };
