/** What a browser sees at the operator address of this version. */
export const START_PAGE = `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>Gatehouse</title>
<style>body{font:16px/1.5 system-ui,sans-serif;max-width:40em;margin:4em auto;padding:0 1em}code{background:#eee;padding:.1em .3em}</style>
<h1>Gatehouse</h1>
<p>This gateway is running. Nobody can sign in here in this version: use the <code>gatehouse</code> command on the
host of the gateway, for example <code>gatehouse device list</code> or <code>gatehouse doctor</code>.</p>
<p>The operator API is described in <a href="/openapi.json">/openapi.json</a>; calls from here are answered with 401.
What devices say over MQTT is described in <a href="/asyncapi.json">/asyncapi.json</a>.</p>
</html>
`;
