// Drives an emulator by jsforce and prints what came back as one JSON object: the test compares.
// Arguments: URL, client id, client secret.
import jsforce from 'jsforce';

const [url, clientId, clientSecret] = process.argv.slice(2);

function connect(secret) {
  return new jsforce.Connection({
    instanceUrl: url,
    version: '60.0',
    oauth2: { clientId, clientSecret: secret, loginUrl: url },
  });
}

async function failure(call) {
  try {
    await call();
    return 'no failure';
  } catch (error) {
    return `${error.name}: ${error.message}`;
  }
}

async function load(connection, object, operation, options, records) {
  const job = connection.bulk.createJob(object, operation, options);
  const batch = job.createBatch();
  const done = Promise.resolve(batch.execute(records));
  done.catch(() => {}); // awaited below, after the batch is queued
  await new Promise((resolve, reject) => {
    batch.on('queue', resolve);
    batch.on('error', reject);
  });
  batch.poll(20, 20000);
  const results = await done;
  const info = await job.check();
  const listed = await job.list();
  const closed = await job.close();
  return {
    results: results.map(({ success, errors }) => ({ success, errors })),
    ids: results.map(({ id }) => id),
    mode: info.concurrencyMode,
    states: listed.map(({ state }) => state),
    closed: closed.state,
  };
}

const found = {};
found.wrongSecret = await failure(() => connect('wrong').authorize({ grant_type: 'client_credentials' }));

const connection = connect(clientSecret);
const user = await connection.authorize({ grant_type: 'client_credentials' });
found.organization = user.organizationId;

const description = await connection.sobject('Airport__c').describe();
found.fields = description.fields.map(({ name, type }) => `${name}:${type}`);
found.objects = (await connection.describeGlobal()).sobjects.map(({ name }) => name);

found.inserted = await load(connection, 'Airport__c', 'insert', { concurrencyMode: 'Serial' }, [
  // jsforce takes the header from the first record alone.
  { Ext__c: 'A', Name: 'Zürich, "Kloten"', Elevation__c: 432, Open__c: true, Kind__c: 'small' },
  { Ext__c: 'B', Name: 'two\r\nlines' },
  { Ext__c: 'C', Name: 'Łódź 🛫\u2028', Kind__c: 'large' },
  { Ext__c: 'E', Name: 'refused', Kind__c: 'huge' },
]);
found.upserted = await load(connection, 'Airport__c', 'upsert', { extIdField: 'Ext__c', concurrencyMode: 'Parallel' }, [
  { Ext__c: 'A', Name: 'Zürich "ZRH"', Kind__c: null },
  { Ext__c: 'D', Name: 'Dublin', Kind__c: 'large' },
]);
found.deleted = await load(connection, 'Airport__c', 'delete', {}, [{ Id: found.inserted.ids[2] }]);
found.unknownColumn = await failure(() => load(connection, 'Airport__c', 'insert', {}, [{ Nowhere__c: 'x' }]));
found.unknownObject = await failure(() => load(connection, 'Nothing__c', 'insert', {}, [{ Name: 'x' }]));

found.records = (
  await connection.query("SELECT Name, Ext__c, Elevation__c, Open__c, Owner.Name FROM Airport__c ORDER BY Ext__c")
).records.map(({ Name, Ext__c, Elevation__c, Open__c, Owner }) => [Ext__c, Name, Elevation__c, Open__c, Owner.Name]);

const made = await connection.sobject('Account').create({ Name: 'Acme', NumberOfEmployees: 7 });
await connection.sobject('Account').update({ Id: made.id, Name: 'Acme & Co' });
found.account = (await connection.sobject('Account').retrieve(made.id)).Name;
found.missingName = await failure(() => connection.sobject('Account').create({ Phone: '1' }));
found.malformed = await failure(() => connection.query('SELECT FROM'));
const many = await load(
  connection, 'Account', 'insert', {}, Array.from({ length: 4500 }, (_, number) => ({ Name: `Account ${number}` })),
);
found.many = many.results.filter(({ success }) => success).length;
found.fetched = (await connection.query('SELECT Id FROM Account', { autoFetch: true, maxFetch: 10000 })).records.length;

console.log(JSON.stringify(found));
