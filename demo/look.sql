-- Reads what the stand-in Exchange says of its mailboxes, one JSON document a line in :file.
CREATE SCHEMA IF NOT EXISTS demo;
CREATE TEMP TABLE said (mailbox jsonb);
\set command '\\copy said FROM ' :'file' ' WITH (FORMAT csv, QUOTE E''\\x01'', DELIMITER E''\\x02'')'
:command
DROP TABLE IF EXISTS demo.contact;
CREATE TABLE demo.contact AS
SELECT mailbox ->> 'address' AS mailbox, item ->> 'id' AS id,
       (SELECT split_part(p.value, '/', 3) FROM jsonb_each_text(item -> 'properties') p WHERE p.key LIKE '%/crmsync') AS record,
       item #>> '{properties,contacts:DisplayName}' AS name,
       item #>> '{properties,contacts:GivenName}' AS given_name,
       item #>> '{properties,contacts:PhoneNumber/BusinessPhone}' AS business_phone,
       item #>> '{properties,contacts:EmailAddress/EmailAddress1}' AS email,
       item #>> '{properties,contacts:PhysicalAddress:City/Business}' AS city
FROM said
CROSS JOIN jsonb_array_elements(mailbox -> 'folders') folder
CROSS JOIN jsonb_array_elements(folder -> 'items') item
WHERE folder ->> 'distinguished' = 'contacts';
