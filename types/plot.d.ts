/* What the report uses of @observablehq/plot, whose own types are for pages. */
type Options<T> = { [name: string]: string | number | boolean | undefined | ((row: T) => unknown) };
interface Mark {
  readonly mark: unique symbol;
}
interface Svg {
  readonly outerHTML: string;
  setAttribute(name: string, value: string): void;
  hasAttribute(name: string): boolean;
}
interface PlotOptions {
  width?: number;
  height?: number;
  marginLeft?: number;
  marginRight?: number;
  style?: object;
  x?: object;
  y?: object;
  marks?: Mark[];
  document?: object;
}
export declare function plot(options: PlotOptions): Svg;
export declare function barX<T>(data: readonly T[], options: Options<T>): Mark;
export declare function dot<T>(data: readonly T[], options: Options<T>): Mark;
export declare function line<T>(data: readonly T[], options: Options<T>): Mark;
export declare function ruleX(data: readonly number[]): Mark;
export declare function ruleY<T>(data: readonly T[], options: Options<T>): Mark;
export declare function text<T>(data: readonly T[], options: Options<T>): Mark;
