export interface Mutant {
  what: string;
  file: string;
  from: string;
  to: string;
}
export declare const MUTANTS: Mutant[];
export declare function codeOf(text: string): string;
export declare function planted(mutant: Mutant, text: string): string;
