"""The routes of the local Salesforce: one module for each API that clients call."""
