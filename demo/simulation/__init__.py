"""The simulated shop, in the order in which its events come about.

`shop` holds the constants, `hours` the calendar and `identity` the IDs. `behaviour` defines how visitors behave,
`population` draws their visits, `browsing` turns visits into rows of events, `delivery` adds the times of arrival, and
`events` formats the rows. `truth` computes the exact conversion probabilities. `simulation` runs all of them.
"""
