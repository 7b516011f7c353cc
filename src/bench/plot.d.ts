/* What the report uses of its plotting library, whose own types are for pages. */
declare module "@observablehq/plot" {
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
  export function plot(options: PlotOptions): Svg;
  export function barX<T>(data: readonly T[], options: Options<T>): Mark;
  export function dot<T>(data: readonly T[], options: Options<T>): Mark;
  export function line<T>(data: readonly T[], options: Options<T>): Mark;
  export function ruleX(data: readonly number[]): Mark;
  export function ruleY<T>(data: readonly T[], options: Options<T>): Mark;
  export function text<T>(data: readonly T[], options: Options<T>): Mark;
}

declare module "linkedom" {
  export function parseHTML(html: string): { document: object };
}
