// Lets jsforce in by the web flow, by refresh and by password, and writes a few records at a time.
// Arguments: URL, client id, client secret, user name, password with security token. Prints one JSON object.
import jsforce from 'jsforce';

const [url, clientId, clientSecret, username, password] = process.argv.slice(2);
const redirectUri = 'http://localhost:1717/back';

async function failure(call) {
  try {
    await call();
    return 'no failure';
  } catch (error) {
    return `${error.name}: ${error.message}`;
  }
}

async function query(connection) {
  return (await connection.query('SELECT COUNT() FROM Account')).totalSize;
}

async function expire() {
  await fetch(`${url}/_emulator/sessions/expire`, { method: 'POST' });
}

const found = {};

const oauth2 = new jsforce.OAuth2({ loginUrl: url, clientId, clientSecret, redirectUri, useVerifier: true });
const page = await fetch(oauth2.getAuthorizationUrl({ scope: 'api refresh_token', state: 's' }), { redirect: 'manual' });
const code = new URL(page.headers.get('location')).searchParams.get('code');
const web = new jsforce.Connection({ oauth2, version: '60.0' });
found.user = (await web.authorize(code)).id;
found.codeTwice = await failure(() => new jsforce.Connection({ oauth2 }).authorize(code));

// The session ends between two calls: jsforce refreshes it and asks again, in REST and in Bulk API 1.0.
let refreshes = 0;
web.on('refresh', () => { refreshes += 1; });
await expire();
found.afterExpiry = await query(web);
await expire();
const batch = web.bulk.createJob('Account', 'insert').createBatch();
const loaded = batch.execute([{ Name: 'by bulk' }]);
await new Promise((resolve, reject) => { batch.on('queue', resolve); batch.on('error', reject); });
batch.poll(20, 20000);
found.bulkAfterExpiry = (await loaded).map(({ success }) => success);
found.refreshes = refreshes;

const made = await web.sobject('Account').create([{ Name: 'one' }, { Phone: 'nameless' }, { Name: 'two' }]);
found.made = made.map(({ success, errors }) => [success, errors.map(({ statusCode }) => statusCode)]);
const together = await web.sobject('Account').create([{ Name: 'x' }, { Phone: '1' }], { allOrNone: true });
found.together = together.map(({ errors }) => errors[0].statusCode);
const [one, , two] = made;
const changed = await web.sobject('Account').update([{ Id: one.id, Name: 'uno' }, { Id: two.id, Name: 'due' }]);
found.changed = changed.map(({ success }) => success);
found.gone = (await web.sobject('Account').destroy([two.id])).map(({ success }) => success);
const upserted = await web.sobject('Airport__c').upsert([{ Ext__c: 'A' }, { Ext__c: 'B' }], 'Ext__c');
found.upserted = upserted.map(({ success, created }) => [success, created]);

const soap = new jsforce.Connection({ loginUrl: url, version: '60.0' });
found.soapUser = (await soap.login(username, password)).id;
found.soapQuery = await query(soap);
found.soapWrong = await failure(() => new jsforce.Connection({ loginUrl: url }).login(username, 'wrong'));
found.soapTooNew = await failure(() =>
  new jsforce.Connection({ loginUrl: url, version: '65.0' }).login(username, password));
await soap.logout();

const byPassword = new jsforce.Connection({ oauth2: { loginUrl: url, clientId, clientSecret }, version: '60.0' });
await byPassword.login(username, password);
found.passwordQuery = await query(byPassword);

await web.logout(true);
found.revoked = await failure(() => oauth2.refreshToken(web.refreshToken ?? 'none'));
console.log(JSON.stringify(found));
