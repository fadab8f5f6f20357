"""The clickstream: visits of the app, generated, since the platform's source of them is synthetic.

Add here how a visit goes. The shop that is visited belongs to `simulation`, and is only read here.
"""
