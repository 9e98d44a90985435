-- One row at most: what this node is called in the lake that several nodes share, if it was not told by the settings.
CREATE TABLE lake_node (name VARCHAR NOT NULL);
