const COMMANDS =
  /(?<!npx )\bgatehouse (?=(serve|ca|device|certificate|group|ticket|enrollment|attempt|manufacturer|registrar|renewal|revoke|tpm|audit|alarm|api|doctor)\b)/g;

/** True in a checkout, where the commands are reached through npx or npm run. */
export const isCalledByNpm = process.env['npm_command'] !== undefined;

/** Advice as it can be typed here: `gatehouse device list` becomes `npx gatehouse device list` in a checkout. */
export function asTyped(text: string): string {
  return isCalledByNpm ? text.replaceAll(COMMANDS, 'npx gatehouse ') : text;
}
