"""`schedctl demo`: a real daemon, a real schedule, rows into the local Salesforce."""
