import { createHmac } from 'node:crypto';
import { Agent, request } from 'node:https';
import { rootCertificates } from 'node:tls';
import { z } from 'zod';
import type { PolicyQuestion, PolicyVerdict, PolicyWebhook } from '#gateway/ports/policy-webhook.ts';
import { RuntimeError } from './runtime-error.ts';

export type WebhookOptions = {
  /** PEM, trusted beside the public ones. */
  ca?: string[];
  /** Each question carries `Gatehouse-Signature: sha256=<HMAC-SHA-256 of the body>` in hexadecimal. */
  secret?: string;
  /** Milliseconds from the question to the whole answer. */
  deadlineMs?: number;
};

const DEADLINE_MS = 5_000;
const MAX_ANSWER_BYTES = 64 * 1024;
/** Questions under way at once to one URL: a slow system must not take the places of enrollments that do not ask it. */
const MAX_WAITING = 16;

const answerSchema = z.object({ decision: z.enum(['allow', 'deny', 'ask']), reason: z.string().max(500).optional() });

/**
 * Asks by HTTPS POST. Whatever is not a clear answer in time is a failure: another status than 200, a redirect, an
 * answer too large or of another shape, a certificate that does not verify.
 */
export function createHttpsPolicyWebhook(options: WebhookOptions = {}): PolicyWebhook {
  const ca = options.ca === undefined ? undefined : [...rootCertificates, ...options.ca];
  const agent = new Agent({ keepAlive: true, ...(ca !== undefined && { ca }) });
  const waiting = new Map<string, number>();
  return {
    async ask(url: string, question: PolicyQuestion): Promise<PolicyVerdict> {
      const others = waiting.get(url) ?? 0;
      if (others >= MAX_WAITING) throw new RuntimeError('WEBHOOK_FAILED', 'too many questions wait for an answer');
      waiting.set(url, others + 1);
      try {
        const text = await post(new URL(url), JSON.stringify(question), { ...options, agent });
        return readVerdict(text);
      } finally {
        const left = (waiting.get(url) ?? 1) - 1;
        if (left > 0) waiting.set(url, left);
        else waiting.delete(url);
      }
    },
  };
}

function post(url: URL, body: string, options: WebhookOptions & { agent: Agent }): Promise<string> {
  if (url.protocol !== 'https:') throw new RuntimeError('WEBHOOK_FAILED', 'the URL of the webhook is not https');
  const { agent, secret, deadlineMs = DEADLINE_MS } = options;
  const signature = secret === undefined ? undefined : createHmac('sha256', secret).update(body).digest('hex');
  return new Promise((resolve, reject) => {
    const fail = (why: string, cause?: unknown) =>
      reject(new RuntimeError('WEBHOOK_FAILED', why, cause === undefined ? {} : { cause }));
    const asking = request(
      url,
      {
        method: 'POST',
        agent,
        // From now to the last byte, not for each pause.
        signal: AbortSignal.timeout(deadlineMs),
        headers: {
          'Content-Type': 'application/json',
          'Content-Length': Buffer.byteLength(body),
          Accept: 'application/json',
          ...(signature !== undefined && { 'Gatehouse-Signature': `sha256=${signature}` }),
        },
      },
      (answer) => {
        if (answer.statusCode !== 200) {
          answer.destroy();
          return fail(`the webhook answered with status ${answer.statusCode}`);
        }
        const parts: Buffer[] = [];
        let bytes = 0;
        answer.on('data', (part: Buffer) => {
          bytes += part.length;
          if (bytes > MAX_ANSWER_BYTES) {
            answer.destroy();
            fail('the answer of the webhook is too large');
          } else parts.push(part);
        });
        answer.on('end', () => resolve(Buffer.concat(parts).toString('utf8')));
        answer.on('error', (error) => fail('the answer of the webhook broke off', error));
      },
    );
    asking.on('error', (error) => fail(describeFailure(error, deadlineMs), error));
    asking.end(body);
  });
}

/** For whoever looks after the webhook: too slow, away, or not to be believed. */
function describeFailure(error: Error, deadlineMs: number): string {
  if (error.name === 'AbortError' || error.name === 'TimeoutError')
    return `the webhook did not answer within ${deadlineMs / 1000} s`;
  const code = 'code' in error ? String(error.code) : error.name;
  return `the webhook cannot be reached, or its certificate does not verify: ${code}`;
}

function readVerdict(text: string): PolicyVerdict {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new RuntimeError('WEBHOOK_FAILED', 'the answer of the webhook is not JSON', { cause });
  }
  const parsed = answerSchema.safeParse(value);
  if (!parsed.success) throw new RuntimeError('WEBHOOK_FAILED', 'the answer of the webhook has another shape');
  const { decision, reason } = parsed.data;
  return { decision: decision === 'ask' ? 'ask a person' : decision, reason: reason ?? null };
}
