/** https only, without a user name or password: it stands in the audit and in `group show`. @throws RangeError */
export function requireWebhookUrl(text: string): string {
  const url = URL.canParse(text) && text.length <= 500 ? new URL(text) : undefined;
  if (url?.protocol === 'https:' && url.username === '' && url.password === '' && url.hash === '') return text;
  throw new RangeError('a webhook is an https URL of at most 500 characters without user name, password and fragment');
}
