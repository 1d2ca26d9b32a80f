import { Listr } from 'listr2';
import { asTyped } from '#scripts/command-line/command-name.ts';
import { formatLocalTime } from '#scripts/command-line/format-time.ts';
import { colour, print } from '#scripts/command-line/output.ts';
import type { EnrollmentEvent, Milestone, Refusal } from './watch-enrollment.ts';

const TITLES = {
  reached: 'reached the gateway',
  issued: 'certificate issued',
  connected: 'connected over MQTT with mutual TLS',
} as const satisfies Record<Milestone, string>;

/** Ticks that turn green one after the other, on a terminal. @throws what the watch throws */
export async function showTicks(events: AsyncIterator<EnrollmentEvent>): Promise<void> {
  const tasks = Object.entries(TITLES).map(([milestone, title]) => ({
    title,
    rendererOptions: { persistentOutput: true, outputBar: Number.POSITIVE_INFINITY },
    task: async (_: unknown, task: { title: string; output: string }) => {
      for (;;) {
        const { value, done } = await events.next();
        if (done) return;
        if (value.kind === 'refused') task.output = describeRefusal(value);
        else if (value.milestone === milestone) {
          task.title = `${title}  ${formatLocalTime(value.at)}`;
          return;
        }
      }
    },
  }));
  await new Listr(tasks, { concurrent: false, exitOnError: true }).run();
}

/** The same as plain lines, for logs. */
export async function showLines(events: AsyncIterator<EnrollmentEvent>): Promise<void> {
  for (let next = await events.next(); !next.done; next = await events.next()) {
    const event = next.value;
    if (event.kind === 'refused') print(describeRefusal(event));
    else print(`${formatLocalTime(event.at)}  ${TITLES[event.milestone]}`);
  }
}

/** JSON Lines, one event a line. */
export async function showJsonLines(events: AsyncIterator<EnrollmentEvent>, deviceId: string): Promise<void> {
  for (let next = await events.next(); !next.done; next = await events.next()) {
    const event = next.value;
    const { kind, ...facts } = event;
    const name = kind === 'milestone' ? event.milestone : kind;
    print(JSON.stringify({ event: name, deviceId, ...facts }));
  }
}

function describeRefusal({ attemptId, at, code, detail, advice }: Refusal): string {
  const reason = `${formatLocalTime(at)}  ${colour('red', 'refused')}: ${detail}${code ? ` (${code}, attempt ${attemptId})` : ''}`;
  return advice ? `${reason}\n  next: ${asTyped(advice)}` : reason;
}
