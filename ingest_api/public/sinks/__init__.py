"""Where rows become durable, behind one interface."""
