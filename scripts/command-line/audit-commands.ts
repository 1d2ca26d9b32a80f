import type { Command } from 'commander';
import type { AuditEvent } from '#gateway/contract/operator-api.ts';
import { commandGroup, countOption, type GlobalOptions, usage, withExamples } from './command-options.ts';
import { dataFolder } from './data-folder.ts';
import { parseDuration } from './duration.ts';
import { formatLocalTime } from './format-time.ts';
import { connectOperator } from './operator-client.ts';
import { colour, printJson, printTable } from './output.ts';

type ListOptions = GlobalOptions & {
  device?: string;
  action?: string;
  attempt?: string;
  since?: (now: number) => number;
  limit: number;
};

/** A duration before now (2h), or a moment (2026-03-01, 2026-03-01T09:00:00Z). */
const sinceOption = usage((text: string): ((now: number) => number) => {
  if (/^\d+[smhd]$/.test(text)) {
    const seconds = parseDuration(text);
    return (now) => now - seconds * 1000;
  }
  const at = Date.parse(text);
  if (Number.isNaN(at)) throw new RangeError('give a duration such as 2h, or a moment such as 2026-03-01T09:00:00Z');
  return () => at;
});

/** `gatehouse audit ...` */
export function auditCommands(): Command {
  const audit = commandGroup('audit', 'who decided what, when');
  withExamples(
    audit
      .command('list')
      .description('audit events, newest first')
      .option('--device <id>', 'only about this device (or other subject)')
      .option('--action <action>', 'only this action, such as device.revoke')
      .option('--attempt <id>', 'only of this attempt, as the agent printed it')
      .option('--since <when>', 'only since then: 2h, 7d, or 2026-03-01T09:00:00Z', sinceOption)
      .option('--limit <count>', 'at most so many', countOption, 100),
    'gatehouse audit list --device press-07 --since 24h',
    'gatehouse audit list --attempt a-0123456789abcdef',
  ).action(async (_: unknown, command: Command) => {
    const { data, json, device, action, attempt, since, limit } = command.optsWithGlobals<ListOptions>();
    const operator = await connectOperator(dataFolder(data));
    const query = { subject: device, action, attemptId: attempt, since: since?.(Date.now()) };
    const events = await operator.list<AuditEvent>('listAudit', query, limit);
    if (json) {
      printJson(events);
      return;
    }
    printTable(
      ['when', 'actor', 'action', 'subject', 'outcome', 'detail'],
      events.map((event) => [
        formatLocalTime(event.at),
        event.actor,
        event.action,
        event.subject,
        event.outcome === 'ok' ? 'ok' : colour('red', event.code ?? event.outcome),
        [event.detail, event.attemptId].filter(Boolean).join(' '),
      ]),
      'no such events',
    );
  });
  return audit;
}
