// Drives an emulator's Bulk API 2.0 by jsforce and prints what came back as one JSON object: the test compares.
// Arguments: URL, client id, client secret.
import jsforce from 'jsforce';

const [url, clientId, clientSecret] = process.argv.slice(2);
const connection = new jsforce.Connection({
  instanceUrl: url, version: '60.0', oauth2: { clientId, clientSecret, loginUrl: url },
});
await connection.authorize({ grant_type: 'client_credentials' });
connection.bulk2.pollInterval = 20;
connection.bulk2.pollTimeout = 20000;

async function failure(call) {
  try {
    await call();
    return 'no failure';
  } catch (error) {
    return `${error.name}: ${error.message}`;
  }
}

const found = {};
const records = Array.from({ length: 25000 }, (_, number) => ({
  Ext__c: `K${number}`, Name: `Łódź "${number}"\n🛫`, Kind__c: number % 5000 === 0 ? 'huge' : 'small',
}));
const loaded = await connection.bulk2.loadAndWaitForResults({
  object: 'Airport__c', operation: 'upsert', externalIdFieldName: 'Ext__c', input: records,
});
found.successful = loaded.successfulResults.length;
found.created = loaded.successfulResults.filter((row) => row.sf__Created === 'true').length;
found.failed = loaded.failedResults.map((row) => [row.Ext__c, row.sf__Error]).sort();
found.unprocessed = loaded.unprocessedRecords.length;

const stream = await connection.bulk2.query('SELECT Id, Ext__c, Owner.Name FROM Airport__c WHERE Ext__c LIKE \'K1%\'');
const rows = await stream.toArray();
found.queried = rows.length;
found.owner = rows[0]['Owner.Name'];

found.unknownColumn = await failure(() => connection.bulk2.loadAndWaitForResults({
  object: 'Airport__c', operation: 'insert', input: [{ Nowhere__c: 'x' }],
}));
found.unknownObject = await failure(() => connection.bulk2.loadAndWaitForResults({
  object: 'Nothing__c', operation: 'insert', input: [{ Name: 'x' }],
}));

const legacy = await connection.bulk.query('SELECT Ext__c FROM Airport__c WHERE Ext__c IN (\'K1\', \'K2\')');
found.legacy = (await legacy.toArray()).map(({ Ext__c }) => Ext__c);

console.log(JSON.stringify(found));
