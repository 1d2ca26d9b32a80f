/** What another side has written goes to a terminal and a log: one line, no control characters, not long. */
export function readableText(text: string): string {
  return text
    .replace(/[\p{Cc}\s]+/gu, ' ')
    .trim()
    .slice(0, 500);
}
