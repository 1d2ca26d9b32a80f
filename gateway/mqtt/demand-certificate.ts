import { Duplex } from 'node:stream';
import { TLSSocket } from 'node:tls';

/** OpenSSL's end of a TLS socket. `demands`: whoever shows no certificate does not get through the handshake. */
type Handle = { setVerifyMode: (this: Handle, asks: boolean, demands: boolean) => void };

let isDone = false;
let isBeginning = false;

/**
 * Begins a connection of a server that judges its clients itself (`rejectUnauthorized: false`) and still has OpenSSL end
 * the handshake of whoever shows no certificate, with an alert: by that a device learns that its own key could not be
 * used. For Node the two are one setting. Nothing is let in by this: a client that gets through without a certificate all
 * the same is refused by judge-peer.ts.
 * @param begin makes the TLS socket before it returns
 */
export function demandCertificate(begin: () => void): void {
  isBeginning = true;
  try {
    begin();
  } finally {
    isBeginning = false;
  }
}

/** Once for a process. @throws Error when this Node sets it elsewhere: better not to start than to do it without. */
export function prepareDemand(): void {
  if (isDone) return;
  const handles = handlePrototype();
  const set = handles.setVerifyMode;
  handles.setVerifyMode = function (this: Handle, asks: boolean, demands: boolean): void {
    set.call(this, asks, demands || isBeginning);
  };
  isDone = true;
}

function handlePrototype(): Handle {
  const socket = new TLSSocket(new Duplex({ read() {}, write: (_chunk, _encoding, done) => done() })) as TLSSocket & {
    _handle?: Handle;
  };
  const handle = socket._handle;
  socket.destroy();
  const prototype = handle === undefined ? undefined : (Object.getPrototypeOf(handle) as Handle);
  if (typeof prototype?.setVerifyMode !== 'function') {
    throw new Error(`Node ${process.version} is not one this gateway was tested with; run "npm ci"`);
  }
  return prototype;
}
