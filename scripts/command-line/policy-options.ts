import type { Command } from 'commander';
import {
  APPROVAL_RULES,
  type ApprovalRule,
  GRACE_DECISIONS,
  type GraceDecision,
  type GroupPolicy,
  KEY_KINDS,
  type KeyKind,
  PROOF_LEVELS,
  type ProofLevel,
} from '#gateway/contract/operator-api.ts';
import {
  collect,
  countOption,
  durationOption,
  type GlobalOptions,
  listOption,
  oneOf,
  usage,
} from './command-options.ts';

/** What `group add` and `group set` take. */
export type PolicyOptions = GlobalOptions & {
  lifetime?: number;
  overlap?: number;
  pendingLapse?: number;
  ticketLife?: number;
  keys?: KeyKind[];
  proof?: ProofLevel;
  publishProof?: ProofLevel;
  readFrom?: string[];
  owner?: string;
  approval?: ApprovalRule;
  binding?: GroupPolicy['binding'];
  network?: string[];
  hours?: string[];
  maxDevices?: number | 'none';
  maxPerHour?: number | 'none';
  deviceIdPattern?: string;
  requireOwner?: boolean;
  webhook?: string;
  serverKeygen?: boolean;
  withoutStatusBelow?: number | 'none';
  grace?: number | 'none';
  graceDecision?: GraceDecision;
};

const BINDINGS = ['optional', 'required'] as const;

const keysOption = usage((text: string): KeyKind[] => listOption(text).map(oneOf(KEY_KINDS, 'a key')));

/** A whole number from 1, or `none`: commander would take null for a missing value. */
const countOrNone = (text: string): number | 'none' => (text === 'none' ? text : countOption(text));

const durationOrNone = (text: string): number | 'none' => (text === 'none' ? text : durationOption(text));

export function withPolicy(command: Command): Command {
  return command
    .option('--lifetime <duration>', 'how long a device certificate lives, such as 7d', durationOption)
    .option(
      '--overlap <duration>',
      'how long the old one stays good once the new one is used, such as 1h',
      durationOption,
    )
    .option('--pending-lapse <duration>', 'how long an issued one may stay unused, such as 1h', durationOption)
    .option('--ticket-life <duration>', 'how long a ticket is good, such as 24h', durationOption)
    .option('--keys <kinds>', `allowed keys, comma separated: ${KEY_KINDS.join(', ')}`, keysOption)
    .option(
      '--proof <level>',
      `lowest proof of the key: ${PROOF_LEVELS.join(', ')}`,
      oneOf(PROOF_LEVELS, 'a proof level'),
    )
    .option(
      '--publish-proof <level>',
      `lowest proof level for publishing telemetry (out/data): ${PROOF_LEVELS.join(', ')}`,
      oneOf(PROOF_LEVELS, 'a proof level'),
    )
    .option(
      '--read-from <groups>',
      'groups whose telemetry its devices may read, comma separated ("" for none)',
      listOption,
    )
    .option('--owner <owner>', 'who answers for it ("" for nobody)')
    .option(
      '--approval <rule>',
      'first enrollments of: registered devices; auto: also of unknown ones of a trusted maker; manual: a person decides',
      oneOf(APPROVAL_RULES, 'an approval rule'),
    )
    .option(
      '--binding <how>',
      'whether a CSR must be bound to its TLS session: optional or required (RFC 7030 3.5)',
      oneOf(BINDINGS, 'a binding'),
    )
    .option('--network <cidr>', 'from where requests may come; may be given again; none: from anywhere', collect)
    .option(
      '--hours <window>',
      'when first enrollments are taken, UTC, such as "Mon-Fri 08:00-18:00"; may be given again; none: always',
      collect,
    )
    .option('--max-devices <count>', 'most devices enrolled in it, or none', countOrNone)
    .option('--max-per-hour <count>', 'most first certificates within an hour, or none', countOrNone)
    .option('--device-id-pattern <pattern>', 'what device ids look like, with * and ?, such as pump-*; or none')
    .option('--require-owner', 'a device without an owner is not enrolled')
    .option('--no-require-owner', 'an owner is not needed')
    .option('--webhook <url>', 'https URL that is asked before each issue and can say no; or none')
    .option('--server-keygen', 'keys may be made by the gateway (EST serverkeygen)')
    .option('--no-server-keygen', 'keys are made by devices only')
    .option(
      '--without-status-below <duration>',
      'certificates that live shorter than this say that no CRL and OCSP tells of them (noRevAvail), such as 1d; or none',
      durationOrNone,
    )
    .option(
      '--grace <duration>',
      'how long after its end a certificate may still ask for the next one, and do nothing else, such as 7d; or none',
      durationOrNone,
    )
    .option(
      '--grace-decision <how>',
      'what happens then: auto (a person is asked when there is doubt), approval (a person decides), or refuse',
      oneOf(GRACE_DECISIONS, 'a grace decision'),
    );
}

/** The fields that were given, in the words of the API. */
export function policyOf(options: PolicyOptions): Partial<GroupPolicy> {
  return {
    ...(options.lifetime === undefined ? {} : { lifetimeSeconds: options.lifetime }),
    ...(options.overlap === undefined ? {} : { overlapSeconds: options.overlap }),
    ...(options.pendingLapse === undefined ? {} : { pendingLapseSeconds: options.pendingLapse }),
    ...(options.ticketLife === undefined ? {} : { ticketSeconds: options.ticketLife }),
    ...(options.keys === undefined ? {} : { keys: options.keys }),
    ...(options.proof === undefined ? {} : { proof: options.proof }),
    ...(options.publishProof === undefined ? {} : { publishProof: options.publishProof }),
    ...(options.readFrom === undefined ? {} : { readFrom: options.readFrom }),
    ...(options.owner === undefined ? {} : { owner: options.owner === '' ? null : options.owner }),
    ...(options.approval === undefined ? {} : { approval: options.approval }),
    ...(options.binding === undefined ? {} : { binding: options.binding }),
    ...(options.network === undefined ? {} : { networks: withoutNone(options.network) }),
    ...(options.hours === undefined ? {} : { hours: withoutNone(options.hours) }),
    ...(options.maxDevices === undefined ? {} : { maxDevices: numberOrNull(options.maxDevices) }),
    ...(options.maxPerHour === undefined ? {} : { maxPerHour: numberOrNull(options.maxPerHour) }),
    ...(options.deviceIdPattern === undefined ? {} : { deviceIdPattern: wordOrNull(options.deviceIdPattern) }),
    ...(options.requireOwner === undefined ? {} : { requireOwner: options.requireOwner }),
    ...(options.webhook === undefined ? {} : { webhook: wordOrNull(options.webhook) }),
    ...(options.serverKeygen === undefined ? {} : { serverKeygen: options.serverKeygen }),
    ...(options.withoutStatusBelow === undefined
      ? {}
      : { noRevAvailBelowSeconds: numberOrNull(options.withoutStatusBelow) ?? 0 }),
    ...(options.grace === undefined ? {} : { graceSeconds: numberOrNull(options.grace) ?? 0 }),
    ...(options.graceDecision === undefined ? {} : { graceDecision: options.graceDecision }),
  };
}

function withoutNone(values: readonly string[]): string[] {
  return values.filter((value) => !isNone(value));
}

function numberOrNull(value: number | 'none'): number | null {
  return value === 'none' ? null : value;
}

function wordOrNull(value: string): string | null {
  return isNone(value) ? null : value;
}

function isNone(value: string): boolean {
  return value === '' || value === 'none';
}
