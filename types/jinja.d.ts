/* What chat templates use of @huggingface/jinja, whose own types TypeScript does not find under Node's rules. */
export declare class Template {
  constructor(source: string);
  parsed: unknown;
}
export declare class Environment {
  set(name: string, value: unknown): void;
}
export declare class Interpreter {
  constructor(environment: Environment);
  run(program: unknown): { value: unknown };
  evaluate(statement: unknown, environment: unknown): { value?: unknown } | undefined;
}
