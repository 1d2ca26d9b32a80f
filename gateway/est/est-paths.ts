import { DIRECTORY_PATH, EST_BASE_PATH, type EstOperation, NO_LABELS } from '#gateway/contract/est.ts';
import { RENEWAL_INFO_PATH } from '#gateway/contract/renewal-info.ts';

/** What is served below EST_BASE_PATH, with a label before it or without. */
type ServedOperation = Exclude<EstOperation, 'fullcmc'> | 'tpm-challenge' | 'nonce';

type Methods = 'GET' | 'POST' | 'GET, POST';

const METHODS: Record<ServedOperation, Methods> = {
  cacerts: 'GET',
  csrattrs: 'GET',
  simpleenroll: 'POST',
  simplereenroll: 'POST',
  serverkeygen: 'POST',
  'tpm-challenge': 'POST',
  nonce: 'GET, POST',
};

/** The path of an operation, and the same behind a label (RFC 7030 3.2.2), as the router takes them. */
export function routesOf(operation: ServedOperation): string[] {
  return [`${EST_BASE_PATH}/${operation}`, `${EST_BASE_PATH}/:label/${operation}`];
}

export type EstPath = { operation: ServedOperation; isLabelled: boolean; methods: Methods };

/** @param url path and query, as they stand in the request. @returns undefined when nothing is served there */
export function readEstPath(url: string): EstPath | undefined {
  const [path = ''] = url.split('?', 1);
  if (!path.startsWith(`${EST_BASE_PATH}/`)) return undefined;
  const [first = '', second, further] = path.slice(EST_BASE_PATH.length + 1).split('/');
  if (further !== undefined || (second !== undefined && (first === '' || NO_LABELS.has(first)))) return undefined;
  const name = second ?? first;
  return isServed(name) ? { operation: name, isLabelled: second !== undefined, methods: METHODS[name] } : undefined;
}

/** @returns the methods that a path takes, undefined when nothing is served there */
export function methodsOf(url: string): Methods | undefined {
  const [path = ''] = url.split('?', 1);
  return path === DIRECTORY_PATH || isRenewalInfo(path) ? 'GET' : readEstPath(url)?.methods;
}

/** The name of a certificate follows; whether it is one is judged with the request. */
function isRenewalInfo(path: string): boolean {
  return path.startsWith(`${RENEWAL_INFO_PATH}/`) && !path.slice(RENEWAL_INFO_PATH.length + 1).includes('/');
}

function isServed(name: string): name is ServedOperation {
  return Object.hasOwn(METHODS, name);
}
