import { Command } from 'commander';
import type { RevocationScope } from '#gateway/contract/operator-api.ts';
import {
  MAX_REVOCATION_RATE,
  type RevocationJobDetail,
  type RevocationJobItemDetail,
  type RevocationPlanned,
} from '#gateway/contract/revocation-api.ts';
import { commandGroup, countOption, type GlobalOptions, usage, withExamples } from './command-options.ts';
import { dataFolder } from './data-folder.ts';
import { followRevocation } from './follow-revocation.ts';
import { connectOperator } from './operator-client.ts';
import { printJson, printTable, say } from './output.ts';
import { ISSUER_REVOCATION_REASONS, REVOCATION_REASONS, reasonOption } from './revocation-reason.ts';
import { printPlan, printRevocation, printRevocations } from './show-revocation.ts';

type OrderOptions = GlobalOptions & { reason?: string; dryRun?: boolean; rate?: number; detach?: boolean };

const TARGETS = {
  device: ['id', 'everything a device could come back with: certificates, tickets, requests', 'press-07'],
  certificate: [
    'serial',
    'one certificate, with what was renewed with it and not used yet',
    '4f1c2d3e5a6b7c8d9e0f1a2b3c4d5e6f',
  ],
  group: ['name', 'all devices of a group', 'line-3'],
  key: [
    'sha256',
    'all certificates with this public key, of whatever device (SHA-256 of its SubjectPublicKeyInfo)',
    'a3f1…',
  ],
  lineage: [
    'serial',
    'a certificate with all it was renewed from and all renewed from it',
    '4f1c2d3e5a6b7c8d9e0f1a2b3c4d5e6f',
  ],
  issuer: [
    'key-id',
    'all that this issuing CA has certified so far: devices, claims, registrars (gatehouse ca show)',
    '9c4be0…',
  ],
} as const satisfies Record<RevocationScope, readonly [string, string, string]>;

const SCOPES = Object.keys(TARGETS) as RevocationScope[];

/** `gatehouse revoke ...` */
export function revokeCommands(): Command {
  const revoke = commandGroup(
    'revoke',
    'revoke devices, certificates, groups, keys, lineages or an issuer, and follow how it lands',
  );
  for (const scope of SCOPES) revoke.addCommand(orderCommand(scope));
  revoke.addCommand(statusCommand());
  for (const [name, route, what] of STEERING) revoke.addCommand(steeringCommand(name, route, what));
  return revoke;
}

function orderCommand(scope: RevocationScope): Command {
  const [argument, what, example] = TARGETS[scope];
  const reasons: readonly string[] = scope === 'issuer' ? ISSUER_REVOCATION_REASONS : REVOCATION_REASONS;
  return withExamples(
    new Command(scope)
      .description(`revoke ${what}`)
      .argument(`<${argument}>`)
      .option('--reason <reason>', `one of ${reasons.join(', ')} (RFC 5280)`, reasonOption(reasons))
      .option('--dry-run', 'say what would be revoked, and revoke nothing')
      .option('--rate <count>', 'certificates a second; left out: as fast as it goes', rateOption)
      .option('--detach', 'do not wait for the end'),
    `gatehouse revoke ${scope} ${example} --dry-run`,
    `gatehouse revoke ${scope} ${example} --reason keyCompromise`,
  ).action(async (target: string, _: unknown, command: Command) => {
    const { data, json, reason, dryRun, rate, detach } = command.optsWithGlobals<OrderOptions>();
    const operator = await connectOperator(dataFolder(data));
    if (dryRun) {
      const plan = await operator.call<RevocationPlanned>('planRevocation', { body: { scope, target } });
      if (json) printJson(plan);
      else printPlan(plan);
      return;
    }
    if (reason === undefined)
      command.error(`error: required option '--reason <reason>' not specified`, { exitCode: 2 });
    const body = { scope, target, reason, rate };
    const begun = await operator.call<RevocationJobDetail>('orderRevocation', { body });
    const job = detach ? begun : await followRevocation(operator, begun);
    report(job, json);
  });
}

const rateOption = usage((text) => {
  const rate = countOption(text);
  if (rate > MAX_REVOCATION_RATE) throw new RangeError(`at most ${MAX_REVOCATION_RATE} a second`);
  return rate;
});

function statusCommand(): Command {
  return withExamples(
    new Command('status')
      .description('how far a revocation has come; without a name the last ones')
      .argument('[job]', 'its name, as it was printed')
      .option('--watch', 'until it has ended, with a progress bar')
      .option('--items', 'each certificate with its outcome and the time to its closed socket')
      .option('--failed', 'only the certificates that failed'),
    'gatehouse revoke status',
    'gatehouse revoke status r-4f1c2d3e5a6b7c8d --watch',
    "gatehouse revoke status r-4f1c2d3e5a6b7c8d --items --json | jq 'map(.closedAfterMs)'",
  ).action(async (id: string | undefined, _: unknown, command: Command) => {
    const { data, json, watch, items, failed } = command.optsWithGlobals<
      GlobalOptions & { watch?: boolean; items?: boolean; failed?: boolean }
    >();
    const operator = await connectOperator(dataFolder(data));
    if (id === undefined) {
      const jobs = await operator.list<RevocationJobDetail>('listRevocations', {}, 20);
      if (json) printJson(jobs);
      else printRevocations(jobs, Date.now());
      return;
    }
    if (items || failed) {
      const query = failed ? { state: 'failed' } : {};
      const listed = await operator.list<RevocationJobItemDetail>('listRevocationItems', query, undefined, [id]);
      if (json) printJson(listed);
      else printItems(listed);
      return;
    }
    const shown = await operator.call<RevocationJobDetail>('showRevocation', { params: [id] });
    report(watch ? await followRevocation(operator, shown) : shown, json);
  });
}

function printItems(items: readonly RevocationJobItemDetail[]): void {
  printTable(
    ['certificate', 'device', 'outcome', 'closed after', 'detail'],
    items.map(({ serial, deviceId, state, closedAfterMs, detail }) => [
      serial,
      deviceId ?? '-',
      state,
      closedAfterMs === null ? '-' : `${closedAfterMs} ms`,
      detail ?? '-',
    ]),
    'none',
  );
}

const STEERING = [
  ['pause', 'pauseRevocation', 'revoke no more of it for now'],
  ['resume', 'resumeRevocation', 'go on with one that was paused'],
  ['cancel', 'cancelRevocation', 'leave what is left of it alone; what is revoked stays revoked'],
] as const;

function steeringCommand(name: string, route: (typeof STEERING)[number][1], what: string): Command {
  const command = new Command(name).description(what).argument('<job>', 'its name, as it was printed');
  if (route === 'resumeRevocation')
    command.option('--rate <count>', 'certificates a second from now on; left out: as before', rateOption);
  return withExamples(command, `gatehouse revoke ${name} r-4f1c2d3e5a6b7c8d`).action(
    async (id: string, _: unknown, self: Command) => {
      const { data, json, rate } = self.optsWithGlobals<GlobalOptions & { rate?: number }>();
      const operator = await connectOperator(dataFolder(data));
      const body = rate === undefined ? {} : { rate };
      const job = await operator.call<RevocationJobDetail>(route, { params: [id], body });
      if (json) printJson(job);
      else printRevocation(job, Date.now());
    },
  );
}

/** Exit code 1 when not all of it could be revoked. */
function report(job: RevocationJobDetail, json: boolean | undefined): void {
  if (job.items.failed > 0) process.exitCode = 1;
  if (json) printJson(job);
  else printRevocation(job, Date.now());
  if (!json && job.state === 'running') say(`It goes on without you: gatehouse revoke status ${job.id} --watch`);
}
