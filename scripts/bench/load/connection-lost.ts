/** The connection ended, or never came to be, before it brought an answer. */
export class ConnectionLost extends Error {}
