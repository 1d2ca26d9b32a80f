import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { STATUS_CONTENT_TYPE, STATUS_PATHS } from '#gateway/contract/status-paths.ts';
import { type CachedDocument, sendDocument } from './cached-document.ts';
import { sendText } from './plain-text.ts';
import { recentValue } from './recent-value.ts';
import type { StatusState } from './status-app.ts';
import { DEFAULT_MAX_STATUS_AGE, type StatusDeps, type StatusOptions } from './status-deps.ts';

/** Milliseconds the file is not looked at again. */
const ROOT_CRL_LIFETIME = 2_000;
/** `intermediate`, `delta` or a shard; of another issuer than the first with its key id before it. */
const LIST_NAME = /^(?:([0-9a-f]{40})(?:-(?=.)|(?=\.)))?(intermediate|delta|shard-\d{1,3}-\d{1,3})?\.crl$/;

/** The lists of revocations (RFC 5280 4.2.1.13, RFC 2585). Each is sent from the one buffer it is kept in. */
export function addListRoutes(
  app: FastifyInstance,
  { clock }: StatusDeps,
  options: StatusOptions,
  state: StatusState,
): void {
  const send = (request: FastifyRequest, reply: FastifyReply, list: CachedDocument): FastifyReply => {
    const now = clock.now();
    const mostlyFresh = now + (options.maxCrlAge ?? DEFAULT_MAX_STATUS_AGE) * 1000;
    return sendDocument(request, reply, { ...list, expires: Math.min(list.expires, mostlyFresh) }, now);
  };

  const rootCrls = recentValue(clock, ROOT_CRL_LIFETIME, async () => (await state.sources?.readRootCrls()) ?? []);
  app.get(STATUS_PATHS.rootCrl, async (request, reply) => {
    const [list] = state.sources === undefined ? [] : await rootCrls();
    if (list === undefined) return sendText(reply, 404, 'the root has signed no CRL\n');
    return send(request, reply, asDocument(list, `root@${list.keyId}`));
  });

  app.get<{ Params: { name: string } }>(`${STATUS_PATHS.lists}/:name`, async (request, reply) => {
    const match = LIST_NAME.exec(request.params.name);
    if (match === null) return sendText(reply, 404, 'there is nothing at this path\n');
    const [, issuerKeyId, kind] = match;
    if (issuerKeyId === undefined && kind === undefined) return sendText(reply, 404, 'there is nothing at this path\n');
    const scopeName = kind === undefined || kind === 'intermediate' ? 'full' : kind;
    const list = state.sources?.findList(scopeName, issuerKeyId);
    if (list !== undefined) return send(request, reply, asDocument(list, list.scope));
    // Each root has one as well, by its key id.
    const ofRoot = kind === undefined && state.sources !== undefined ? await rootCrls() : [];
    const root = ofRoot.find(({ keyId }) => keyId === issuerKeyId);
    if (root !== undefined) return send(request, reply, asDocument(root, `root@${root.keyId}`));
    // The complete list of the first issuer is only not there yet; of the others nobody knows.
    return scopeName === 'full' && issuerKeyId === undefined
      ? sendText(reply, 503, 'there is no CRL yet\n')
      : sendText(reply, 404, 'there is no such CRL\n');
  });
}

type SignedList = { der: Buffer; number: number; thisUpdate: number; nextUpdate: number };

function asDocument({ der, number, thisUpdate, nextUpdate }: SignedList, scope: string): CachedDocument {
  return {
    body: der,
    contentType: STATUS_CONTENT_TYPE.crl,
    // Numbers of a scope never come again, so nobody has to hash megabytes.
    etag: `"${scope}-${number}-${thisUpdate / 1000}"`,
    lastModified: thisUpdate,
    expires: nextUpdate,
  };
}
