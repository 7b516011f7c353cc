export declare const hasCompiler: boolean;
export declare const canEmulateAddon: boolean;
export declare const EMULATED_ADDON: string;
export declare function buildEmulated(): Promise<void>;
export declare const nvcc: string | undefined;
export declare function compileForGpu(to: string): Promise<void>;
