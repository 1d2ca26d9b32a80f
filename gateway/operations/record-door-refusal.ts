import type { Attempt } from '#gateway/domain/attempt.ts';
import type { GatewayError } from '#gateway/domain/gateway-error.ts';
import { networkOf } from '#gateway/domain/network-of.ts';
import { nextActionFor } from '#gateway/domain/next-action.ts';
import type { Saturation } from '#gateway/domain/saturation.ts';
import type { Store, Tables } from '#gateway/ports/store.ts';
import type { EnrollmentCredentials } from './authorize-enrollment.ts';
import { findTicket } from './authorize-ticket.ts';
import { findOwnCertificate } from './identify-peer.ts';
import { putAttempt } from './put-attempt.ts';
import { type Arrival, type AttemptDeps, OUR_SIDE } from './record-attempt.ts';

export type DoorRefusalDeps = Pick<AttemptDeps, 'clock' | 'random' | 'background' | 'attemptRows'> & {
  saturation: Pick<Saturation, 'turnedAway'>;
};

/** What a door has refused before an operation was asked, and said and counted itself. */
export type DoorRefusal = Arrival & {
  kind: Attempt['kind'];
  error: GatewayError;
  /** From the start of the request. */
  milliseconds: number;
} & (
    | { deviceId: string }
    /** shown: nobody has judged it yet; undefined: nothing was shown */
    | { shown: EnrollmentCredentials | undefined }
  );

/**
 * A try that came no further than the door is on record like the others, under the id that the client was told. Who
 * asked is looked up behind the answer's back, so it counts as a stranger's where the door does not know.
 * @returns whether it is kept
 */
export function recordDoorRefusal(deps: DoorRefusalDeps, refusal: DoorRefusal): boolean {
  const { attemptId, address, door, kind, error, milliseconds } = refusal;
  const { code, message: detail } = error;
  const now = deps.clock.now();
  if (code === 'OVERLOADED') deps.saturation.turnedAway(deps.clock.monotonic());
  const deviceId = 'deviceId' in refusal ? refusal.deviceId : undefined;
  if (!deps.attemptRows.take({ network: networkOf(address), deviceId, code }, now)) return false;
  const attempt: Attempt = {
    id: attemptId,
    at: now - Math.round(milliseconds),
    kind,
    door,
    address,
    deviceId: deviceId ?? null,
    outcome: OUR_SIDE.has(code) ? 'failed' : 'refused',
    code,
    detail,
    nextAction: nextActionFor(code),
    milliseconds: Math.round(milliseconds * 10) / 10,
    steps: [{ step: 'request', outcome: 'refused', detail, after: Math.round(milliseconds * 10) / 10 }],
  };
  deps.background.add(async (tables) => {
    const asked = 'shown' in refusal ? await findDeviceOf(tables, refusal.shown) : undefined;
    await putAttempt(tables, deps.random, asked === undefined ? attempt : { ...attempt, deviceId: asked });
  });
  return true;
}

async function findDeviceOf(read: Tables, shown: EnrollmentCredentials | undefined): Promise<string | undefined> {
  const store: Pick<Store, 'read'> = { read };
  switch (shown?.by) {
    case undefined:
      return undefined;
    case 'ticket':
      return findTicket(store, shown).then(
        ({ deviceId }) => deviceId,
        // Nobody's: then it stays that of a stranger.
        () => undefined,
      );
    case 'certificate':
      return (await findOwnCertificate(store, shown.peer)).certificate?.deviceId ?? undefined;
  }
}
