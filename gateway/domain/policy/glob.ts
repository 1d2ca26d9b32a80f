/**
 * `*` stands for any characters, also none, and `?` for one; everything else for itself. Case counts.
 * Time grows with pattern times text and no faster, whatever the pattern: it comes from outside.
 */
export function matchesGlob(pattern: string, text: string): boolean {
  let at = 0;
  let inPattern = 0;
  let star = -1;
  let afterStar = 0;
  while (at < text.length) {
    const wanted = pattern[inPattern];
    if (wanted === '*') {
      star = inPattern;
      afterStar = at;
      inPattern += 1;
    } else if (wanted === '?' || wanted === text[at]) {
      inPattern += 1;
      at += 1;
    } else if (star >= 0) {
      // The last star takes one more; earlier ones need not be tried again.
      afterStar += 1;
      at = afterStar;
      inPattern = star + 1;
    } else return false;
  }
  while (pattern[inPattern] === '*') inPattern += 1;
  return inPattern === pattern.length;
}

const PATTERN = /^[A-Za-z0-9._*?-]{1,63}$/;

/** @throws RangeError when no device id could ever look like it */
export function requireDeviceIdPattern(text: string): string {
  if (PATTERN.test(text)) return text;
  throw new RangeError('a device id pattern is 1 to 63 of A-Z a-z 0-9 . _ - with * and ?, as pump-*');
}
