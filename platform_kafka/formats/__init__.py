"""What the platform's parts write for each other to read, each form written and parsed in one place.

Clients and topics are beside this room; what a form's content means belongs to who reads it.
"""
