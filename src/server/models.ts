/*
 * The models that a server has, by their ids. A client names one of these, never a path.
 */

import { show } from "../check.ts";
import type { Model } from "../model.ts";
import { sha256 } from "../sha256.ts";
import { HttpError } from "./errors.ts";

export interface Served {
  id: string;
  model: Model;
  /** Identifies the weights, tokenizer and precision that answered. */
  fingerprint: string;
}

/** The models by id. */
export class Models {
  readonly all: readonly Served[];
  private readonly created = Math.floor(Date.now() / 1000);

  private constructor(all: readonly Served[]) {
    this.all = all;
  }

  /** @param models with distinct names, which are their ids */
  static async of(models: readonly Model[]): Promise<Models> {
    const all: Served[] = [];
    for (const model of models) {
      const { model: weights, tokenizer = "" } = await model.hashes();
      const what = [weights, tokenizer, model.info.precision].join("\n");
      const fingerprint = `fp_${sha256(new TextEncoder().encode(what)).slice(0, 16)}`;
      all.push({ id: model.info.name, model, fingerprint });
    }
    return new Models(all);
  }

  /** The model of this id, or the first one. @throws HttpError 404 if there is none of that id */
  named(id: string | undefined): Served {
    const found = id === undefined ? this.all[0] : this.all.find((served) => served.id === id);
    if (found) return found;
    const known = this.all.map((served) => served.id).join(", ");
    throw new HttpError(404, `there is no model ${show(id)}: this server has ${known}`, {
      param: "model",
      code: "model_not_found",
    });
  }

  get list(): object {
    return { object: "list", data: this.all.map(({ id }) => this.describe(id)) };
  }

  /** A model as /v1/models describes it. @throws HttpError 404 if there is none of that id */
  describe(id: string): object {
    return { id: this.named(id).id, object: "model", created: this.created, owned_by: "llama2.ts" };
  }
}
