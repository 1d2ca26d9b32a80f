/** Names inside the data folder that commands and operators may rely on. Joined with the folder by the caller. */
export const DATA_FOLDER = {
  database: 'gateway.db',
  ca: 'ca',
  rootCertificate: 'ca/root.pem',
  intermediateCertificate: 'ca/intermediate.pem',
  /** Optional, DER: which intermediates the root has revoked. */
  rootCrl: 'ca/root.crl',
  /** The signed lists of revocations, for the time after a restart. */
  statusLists: 'crl',
  /** PEM: every root that is to be trusted now, for programs beside the gateway. */
  trustAnchors: 'trust-anchors.pem',
  /** Keys and certificates of the gateway itself, 0700. */
  gatewayKeys: 'gateway',
  /** Optional: PEM, whom the policy webhooks' servers may be certified by beside the public CAs. */
  webhookCa: 'webhook-ca.pem',
  /** Optional, 0600: signs the questions to policy webhooks. */
  webhookSecret: 'webhook-secret',
  /** Sockets and the run file, 0700. */
  run: 'run',
  /** Held by the gateway that runs on this folder. */
  lock: 'run/gateway.lock',
  /** By what name the gateway that ran last on this folder has taken leases. */
  worker: 'run/worker',
  /** JSON `RunFile`, written when the operator socket listens. */
  runFile: 'run/gateway.json',
  operatorSocket: 'run/operator.sock',
  authoritySocket: 'run/authority.sock',
} as const;

/** Longest path of a unix socket on every supported system, in bytes (Linux 107, macOS 103). */
export const MAX_SOCKET_PATH = 103;

/** `doors`: added once the gateway can serve, so that `gatehouse doctor` can knock at each. */
export type RunFile = { pid: number; operatorSocket: string; doors?: Doors };

/** Where a door can be reached. */
export type DoorAddress = { host: string; port: number; url: string };

export type Doors = { est: DoorAddress; mqtt: DoorAddress; status: DoorAddress; operator: DoorAddress };

/** `serve --ready-file`: written once, when the gateway can serve. Others' scripts rely on these names. */
export type ReadyFile = {
  pid: number;
  dataDir: string;
  rootSha256: string;
  /** Path of the root certificate. */
  rootPem: string;
  est: DoorAddress;
  mqtt: DoorAddress;
  status: DoorAddress;
  operator: DoorAddress;
};
