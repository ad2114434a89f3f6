/** Answers to the many questions of one message, one after the other, each with a failure of its own. */
export async function answerEach<Item, Failure>(
  items: readonly Item[],
  answer: (item: Item) => unknown,
  failed: (error: unknown, item: Item) => Failure,
): Promise<(Failure | { readonly value: unknown })[]> {
  const answers: (Failure | { readonly value: unknown })[] = [];
  for (const item of items) {
    try {
      answers.push({ value: await answer(item) });
    } catch (error) {
      answers.push(failed(error, item));
    }
  }
  return answers;
}
