export declare const SOURCES: string[];
export declare const ARCHITECTURES: number[];
export declare const hasCompiler: boolean;
export declare const nvcc: string | undefined;
export declare function buildDriver(to: string, options?: { flags?: string[]; source?: string }): Promise<string>;
export declare function compileForGpu(to: string, architectures?: number[]): Promise<void>;
