/*
 * A question that is asked before a value is shown, and its answer from the run.
 */
import { el } from "./dom.ts";

export interface Question {
  text: string;
  /** The options to choose from; without them a number is typed. */
  options?: string[];
  answer: string;
  /** How far a typed number may be off. @default it must be exact */
  within?: number;
  /** The live values, shown after the answer. */
  reveal: string;
}

export interface Answer {
  given: string;
  right: boolean;
}

function isRight({ options, answer, within = 1e-9 }: Question, given: string): boolean {
  if (options) return given === answer;
  return Math.abs(Number(given.replace(",", ".").replace("−", "-")) - Number(answer)) <= within;
}

/** Show the question in a box, or its answer. */
export function drawQuestion(
  box: HTMLElement,
  asked: Question,
  answered: Answer | undefined,
  onAnswer: (answer: Answer) => void,
): void {
  const { text, options, reveal } = asked;
  const key = JSON.stringify([asked, answered]);
  if (box.dataset.key === key) return; // it is shown already, perhaps with an answer half typed
  box.dataset.key = key;
  const question = el("p", { textContent: text, className: "question" });
  if (answered) {
    const verdict = answered.right ? "Right." : `You said ${answered.given}.`;
    box.replaceChildren(
      question,
      el("p", { className: "answer", role: "status", textContent: `${verdict} ${reveal}` }),
    );
    return;
  }
  const reply = (given: string) => onAnswer({ given, right: isRight(asked, given) });
  if (options) {
    const buttons = options.map((option) => {
      const button = el("button", { textContent: option });
      button.onclick = () => reply(option);
      return button;
    });
    box.replaceChildren(question, el("div", { className: "options" }, ...buttons));
    return;
  }
  const input = el("input", { inputMode: "decimal", size: 8, ariaLabel: text });
  const form = el("form", { className: "options" }, input, el("button", { textContent: "See" }));
  form.onsubmit = (event) => {
    event.preventDefault();
    if (input.value.trim() !== "") reply(input.value.trim());
  };
  box.replaceChildren(question, form);
}
