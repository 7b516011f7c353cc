import type { Plugin, RolldownOutput } from "rolldown";
export declare function buildBrowser(options?: {
  dir?: string;
  write?: boolean;
  plugins?: Plugin[];
}): Promise<RolldownOutput[]>;
