export declare function findNvcc(): { command: string; version: number; name: string } | undefined;
export declare function architecturesOf(version: number): number[];
export declare function chooseArchitectures(named: string[], version: number, hasGpu: boolean): string;
export declare function buildCuda(named: string[], options?: { folder?: string; loud?: boolean }): string | undefined;
