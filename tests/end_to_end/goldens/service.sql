-- user_version 0
CREATE INDEX ledger_by_day ON ledger (day, key_id);
CREATE TABLE keys (
	id VARCHAR(16) NOT NULL, 
	name VARCHAR(200) NOT NULL, 
	hash BLOB NOT NULL, 
	scopes VARCHAR(200) NOT NULL, 
	created_ms BIGINT NOT NULL, 
	expires_ms BIGINT, 
	revoked_ms BIGINT, 
	requests_per_minute INTEGER, 
	tokens_per_minute INTEGER, 
	tokens_per_day BIGINT, 
	picodollars_per_month BIGINT, 
	PRIMARY KEY (id)
);
CREATE TABLE ledger (
	request_id VARCHAR(40) NOT NULL, 
	key_id VARCHAR(16) NOT NULL, 
	at_ms BIGINT NOT NULL, 
	day VARCHAR(10) NOT NULL, 
	model VARCHAR(200) NOT NULL, 
	route VARCHAR(40) NOT NULL, 
	tokens BIGINT NOT NULL, 
	images BIGINT NOT NULL, 
	bytes BIGINT NOT NULL, 
	milliseconds BIGINT NOT NULL, 
	picodollars BIGINT NOT NULL, 
	PRIMARY KEY (request_id)
);
CREATE TABLE schema_version (
	version INTEGER NOT NULL, 
	PRIMARY KEY (version)
);
CREATE TABLE totals (
	key_id VARCHAR(16) NOT NULL, 
	day VARCHAR(10) NOT NULL, 
	model VARCHAR(200) NOT NULL, 
	requests BIGINT NOT NULL, 
	tokens BIGINT NOT NULL, 
	images BIGINT NOT NULL, 
	bytes BIGINT NOT NULL, 
	milliseconds BIGINT NOT NULL, 
	picodollars BIGINT NOT NULL, 
	PRIMARY KEY (key_id, day, model)
);
