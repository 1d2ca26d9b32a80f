import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client';
import type { Metrics } from '#gateway/ports/metrics.ts';

/** What is looked up when /metrics is asked for. A look-up that fails leaves its gauge out of the answer's next value. */
type MetricSources = {
  /** Sessions open now. */
  sessions(): number;
  unfinishedNotices(): Promise<number>;
  crl(): Promise<{ number: number; thisUpdate: number; nextUpdate: number; entries: number } | undefined>;
  isAuthorityUp(): Promise<boolean>;
};

export type PrometheusMetrics = Metrics & {
  /** Called once, when the parts behind the gauges are there. */
  observe(sources: MetricSources): void;
  /** The exposition text and its content type. */
  text(): Promise<string>;
  contentType: string;
};

const FAST_BUCKETS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5];

/** Prometheus metrics: `gatehouse_*` for what the gateway does, the usual `process_*` and `nodejs_*` for the process. */
export function createPrometheusMetrics(): PrometheusMetrics {
  const registry = new Registry();
  const registers = [registry];
  collectDefaultMetrics({ register: registry });

  const enrollments = new Counter({
    name: 'gatehouse_enrollments_total',
    help: 'Enrollment requests by kind and outcome (issued, given-again, challenged, or the code of the refusal)',
    labelNames: ['kind', 'outcome'] as const,
    registers,
  });
  const enrollmentSeconds = new Histogram({
    name: 'gatehouse_enrollment_seconds',
    help: 'Time from the arrival of an enrollment request to its answer',
    labelNames: ['kind'] as const,
    buckets: FAST_BUCKETS,
    registers,
  });
  const sessions = new Counter({
    name: 'gatehouse_session_attempts_total',
    help: 'MQTT sessions asked for, by outcome (admitted, or the code of the refusal)',
    labelNames: ['outcome'] as const,
    registers,
  });
  const sessionsEnded = new Counter({
    name: 'gatehouse_sessions_ended_total',
    help: 'MQTT sessions that ended, by reason',
    labelNames: ['reason'] as const,
    registers,
  });
  const revocations = new Counter({ name: 'gatehouse_revocations_total', help: 'Orders to revoke', registers });
  const revocationSeconds = new Histogram({
    name: 'gatehouse_revocation_to_closed_seconds',
    help: 'Time from the order to revoke to the last socket closed',
    buckets: FAST_BUCKETS,
    registers,
  });
  const revocationSessions = new Counter({
    name: 'gatehouse_revocation_sessions_closed_total',
    help: 'Sessions closed by revocations',
    registers,
  });
  const notices = new Counter({
    name: 'gatehouse_notices_total',
    help: 'Notices to devices by what became of them',
    labelNames: ['event'] as const,
    registers,
  });
  const crlSeconds = new Histogram({
    name: 'gatehouse_crl_build_seconds',
    help: 'Time to build and sign a CRL',
    buckets: FAST_BUCKETS,
    registers,
  });

  const crlFailures = new Counter({
    name: 'gatehouse_crl_failures_total',
    help: 'CRLs that could not be built or signed: alarm when it rises',
    registers,
  });
  const ocspAnswers = new Counter({
    name: 'gatehouse_ocsp_answers_total',
    help: 'OCSP answers by outcome, and whether they were kept from before or signed for it',
    labelNames: ['outcome', 'kept'] as const,
    registers,
  });

  const identityAlarms = new Counter({
    name: 'gatehouse_identity_alarms_total',
    help: 'Signs that an identity is in more than one place, by kind',
    labelNames: ['kind'] as const,
    registers,
  });

  return {
    enrollment: (kind, outcome, seconds) => {
      enrollments.inc({ kind, outcome });
      enrollmentSeconds.observe({ kind }, seconds);
    },
    session: (outcome) => sessions.inc({ outcome }),
    sessionEnded: (reason) => sessionsEnded.inc({ reason }),
    revocation: (seconds, sessionsClosed) => {
      revocations.inc();
      revocationSessions.inc(sessionsClosed);
      if (sessionsClosed > 0) revocationSeconds.observe(seconds);
    },
    notice: (event) => notices.inc({ event }),
    crlSigned: (_entries, seconds) => crlSeconds.observe(seconds),
    crlFailed: () => crlFailures.inc(),
    ocspAnswered: (outcome, isKept) => ocspAnswers.inc({ outcome, kept: String(isKept) }),
    identityAlarm: (kind) => identityAlarms.inc({ kind }),
    observe: (sources) => addGauges(registry, sources),
    text: () => registry.metrics(),
    contentType: registry.contentType,
  };
}

function addGauges(registry: Registry, sources: MetricSources): void {
  const registers = [registry];
  const gauge = (name: string, help: string, read: () => number | undefined | Promise<number | undefined>): Gauge =>
    new Gauge({
      name,
      help,
      registers,
      async collect() {
        // NaN says "not known", as Prometheus has it: a look-up that breaks or hangs must not break the whole page.
        const value = await inTime(read).catch(() => undefined);
        this.set(value ?? Number.NaN);
      },
    });
  gauge('gatehouse_sessions', 'MQTT sessions open now', () => sources.sessions());
  gauge('gatehouse_unfinished_notices', 'Notices that devices have not finished', () => sources.unfinishedNotices());
  gauge('gatehouse_authority_up', '1 when the certificate authority answers', async () =>
    (await inTime(() => sources.isAuthorityUp()).catch(() => false)) ? 1 : 0,
  );
  // A CRL is large and three gauges want it: those who ask while it is being read share the one read.
  let reading: ReturnType<MetricSources['crl']> | undefined;
  const crl = (): ReturnType<MetricSources['crl']> => {
    reading ??= sources.crl().finally(() => {
      reading = undefined;
    });
    return reading;
  };
  gauge('gatehouse_crl_number', 'CRL number', async () => (await crl())?.number);
  gauge('gatehouse_crl_entries', 'Revoked certificates on the CRL', async () => (await crl())?.entries);
  gauge('gatehouse_crl_this_update_timestamp_seconds', 'thisUpdate of the CRL', async () =>
    inSeconds((await crl())?.thisUpdate),
  );
  gauge('gatehouse_crl_next_update_timestamp_seconds', 'nextUpdate of the CRL: alarm well before', async () =>
    inSeconds((await crl())?.nextUpdate),
  );
}

function inSeconds(milliseconds: number | undefined): number | undefined {
  return milliseconds === undefined ? undefined : milliseconds / 1000;
}

/** Milliseconds for one look-up: well below the time a Prometheus server waits for the page. */
const PATIENCE = 2_000;

async function inTime<T>(look: () => T | Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error('the look-up takes too long')), PATIENCE);
  });
  try {
    return await Promise.race([look(), late]);
  } finally {
    clearTimeout(timer);
  }
}
