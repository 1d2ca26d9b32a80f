import { expect, test } from 'vitest';
import { createPrometheusMetrics } from '#gateway/runtime/prometheus-metrics.ts';

test('counts what happens under names of its own', async () => {
  const metrics = createPrometheusMetrics();
  metrics.enrollment('enroll', 'issued', 0.02);
  metrics.enrollment('enroll', 'TICKET_SPENT', 0.01);
  metrics.session('admitted');
  metrics.sessionEnded('certificate-revoked');
  metrics.revocation(0.004, 2);
  metrics.notice('queued');
  metrics.crlSigned(3, 0.05);
  const text = await metrics.text();
  for (const line of [
    'gatehouse_enrollments_total{kind="enroll",outcome="issued"} 1',
    'gatehouse_enrollments_total{kind="enroll",outcome="TICKET_SPENT"} 1',
    'gatehouse_session_attempts_total{outcome="admitted"} 1',
    'gatehouse_sessions_ended_total{reason="certificate-revoked"} 1',
    'gatehouse_revocation_to_closed_seconds_count 1',
    'gatehouse_revocation_sessions_closed_total 2',
    'gatehouse_notices_total{event="queued"} 1',
    'gatehouse_crl_build_seconds_count 1',
  ]) {
    expect(text).toContain(line);
  }
  expect(text).toContain('nodejs_eventloop_lag_seconds');
});

test('reads the gauges when asked, the CRL once, and survives a source that fails', async () => {
  const metrics = createPrometheusMetrics();
  let reads = 0;
  metrics.observe({
    sessions: () => 12,
    unfinishedNotices: () => Promise.reject(new Error('database is gone')),
    isAuthorityUp: () => Promise.reject(new Error('no answer')),
    crl: () => {
      reads += 1;
      return Promise.resolve({ number: 4, thisUpdate: 1_000, nextUpdate: 61_000, entries: 9 });
    },
  });
  const text = await metrics.text();
  expect(text).toContain('gatehouse_sessions 12');
  expect(text).toContain('gatehouse_unfinished_notices Nan');
  expect(text).toContain('gatehouse_authority_up 0');
  expect(text).toContain('gatehouse_crl_number 4');
  expect(text).toContain('gatehouse_crl_next_update_timestamp_seconds 61');
  expect(reads).toBe(1);
});
