"""HTTP to Salesforce: the session, what an answer means, and a row for each of its error codes."""
