import type { Clock } from '#gateway/ports/clock.ts';
import type { BrokerClient } from './broker-client.ts';
import type { MqttLimits } from './mqtt-limits.ts';

/** Cheap to take, and as many as others publish for it: a reader of a whole fleet must not fall behind by its own answers. */
const ANSWERS: ReadonlySet<string> = new Set(['puback', 'pubrec', 'pubcomp']);
const ANSWER_SHARE = 0.05;

/**
 * How fast packets of one session are taken. A flood costs everybody's event loop; whoever sends more than its share
 * finds its socket full, and loses nothing. The first `packetBurst` count for nothing, so that a device that was offline
 * for a while is rid of what it has kept at once.
 * @param onSlowed once for a session
 */
export function pacePackets(
  client: BrokerClient,
  { packetBurst, packetsPerSecond }: Pick<MqttLimits, 'packetBurst' | 'packetsPerSecond'>,
  clock: Pick<Clock, 'monotonic'>,
  onSlowed: () => void,
): void {
  let left = packetBurst;
  let at = clock.monotonic();
  let isSlowed = false;
  let wasSlowed = false;
  const debtMs = (): number => {
    const now = clock.monotonic();
    left = Math.min(packetBurst, left + ((now - at) / 1000) * packetsPerSecond);
    at = now;
    return left >= 0 ? 0 : Math.ceil((-left / packetsPerSecond) * 1000);
  };
  const readOn = (): void => {
    const owed = client.closed ? 0 : debtMs();
    if (owed > 0) {
      setTimeout(readOn, owed).unref();
      return;
    }
    isSlowed = false;
    Reflect.deleteProperty(client.conn, 'read');
    if (!client.closed) client._nextBatch();
  };
  client._parser.on('packet', ({ cmd }) => {
    left -= ANSWERS.has(cmd) ? ANSWER_SHARE : 1;
    if (left >= 0 || isSlowed || debtMs() === 0) return;
    isSlowed = true;
    // Not `client.pause()`: aedes forgets there what it still works on, and would never read on.
    client.conn.read = () => null;
    setTimeout(readOn, debtMs()).unref();
    if (!wasSlowed) onSlowed();
    wasSlowed = true;
  });
}
