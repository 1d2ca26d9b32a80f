/** MQTT 3.1.1 3.2.2.3: "server unavailable", about the gateway and not about us. */
export const CONNACK_UNAVAILABLE = 3;

/**
 * MQTT 3.1.1 3.2.2.3: 4 "bad user name or password" and 5 "not authorized" are a verdict on whom the certificate names.
 * Nothing else is: a connection that ends without CONNACK may as well have been let in, with the answer lost.
 */
export function isRefusalOfIdentity(code: number): boolean {
  return code === 4 || code === 5;
}
