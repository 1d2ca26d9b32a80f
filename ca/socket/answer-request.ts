import { PROFILES } from '#ca/issuance/profiles.ts';
import { type AuthorityDescription, AuthorityError, type SucceededAuthority } from '#ca/ports/certificate-authority.ts';
import { formatDescription } from './description-json.ts';
import type { Frame } from './frame.ts';
import { formatIssued, formatLastList } from './issued-json.ts';
import { type Request, type Response, requestHeadSchema, requestSchema } from './protocol.ts';

export type Answer = { response: Response; attachment: Buffer };

const NOTHING = Buffer.alloc(0);

/**
 * One request, one answer. Every field is checked before it is used; what goes wrong inside says nothing outside.
 * @param onUnknownError for the log
 * @returns undefined when not even an id can be read
 */
export async function answerRequest(
  authority: SucceededAuthority,
  frame: Frame,
  onUnknownError: (error: unknown) => void,
): Promise<Answer | undefined> {
  const head = requestHeadSchema.safeParse(frame.json);
  if (!head.success) return undefined;
  const { id, order } = head.data;
  try {
    const request = requestSchema.safeParse(frame.json);
    if (request.success) return await answer(authority, request.data, frame.attachment);
    if (order !== undefined && !(typeof order.profile === 'string' && Object.hasOwn(PROFILES, order.profile))) {
      throw new AuthorityError('PROFILE_UNKNOWN', 'there is no such profile');
    }
    const [issue] = request.error.issues;
    throw new AuthorityError(
      'ORDER_MALFORMED',
      `${issue?.path.join('.') ?? ''}: ${issue?.message ?? 'malformed'}`.slice(0, 300),
    );
  } catch (error) {
    if (error instanceof AuthorityError) {
      return { response: { id, ok: false, code: error.code, message: error.message }, attachment: NOTHING };
    }
    onUnknownError(error);
    const message = 'the authority failed; its log says why';
    return { response: { id, ok: false, code: 'AUTHORITY_FAILED', message }, attachment: NOTHING };
  }
}

async function answer(authority: SucceededAuthority, request: Request, attachment: Buffer): Promise<Answer> {
  const { id } = request;
  switch (request.method) {
    case 'describe':
      return described(id, await authority.describe());
    case 'activateIssuer':
      return described(id, await authority.activateIssuer(request.keyId));
    case 'discardIssuer':
      return described(id, await authority.discardIssuer(request.keyId));
    case 'readIssued':
      return given(id, formatIssued(await authority.readIssued(request.from)));
    case 'lastList':
      return given(id, formatLastList(await authority.lastList(request.keyId)));
    case 'issue':
      return given(id, await authority.issue({ ...request.order, publicKey: attachment }));
    case 'findIssued':
      return given(id, (await authority.findIssued(request.serial)) ?? NOTHING);
    case 'signCrl': {
      const { id: _, method: __, ...order } = request;
      return given(id, await authority.signCrl({ ...order, entries: attachment }));
    }
  }
}

function described(id: number, description: AuthorityDescription): Answer {
  return { response: { id, ok: true, description: formatDescription(description) }, attachment: NOTHING };
}

function given(id: number, attachment: Buffer): Answer {
  return { response: { id, ok: true }, attachment };
}
