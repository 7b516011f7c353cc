export declare const SOURCE: string;
export declare const TRACED: string;
export declare function trace(source: string): string;
export declare function buildTrace(): void;
