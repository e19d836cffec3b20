"""SOQL in the local Salesforce: text to tree to SQL to rows. Its face is ``queries``."""
