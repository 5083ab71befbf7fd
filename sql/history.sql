-- The history is kept for 30 days at least, and not much longer. Time is moved here, not waited for.
\set SHOW_CONTEXT never
SET client_min_messages = warning;
CREATE EXTENSION crmsync;
CREATE TEMPORARY TABLE kept (day integer, days bigint, turn bigint);
CREATE FUNCTION pg_temp.live(first integer, last integer) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    FOR day IN first..last LOOP
        EXECUTE (SELECT format('INSERT INTO crmsync.history_%s (at, link, record, action, result) VALUES (now(), 0, %L, ''update'', ''done'')', turn % 3, day)
                 FROM crmsync.history_turn);
        UPDATE crmsync.history_turn SET since = since - interval '1 day';
        PERFORM crmsync.turn_history();
        INSERT INTO kept SELECT day, (SELECT count(*) FROM crmsync.history), turn FROM crmsync.history_turn;
    END LOOP;
END;
$$;
SELECT pg_temp.live(1, 200);
SELECT day AS forgets_at_first, days AS kept_then FROM kept WHERE days < day ORDER BY day LIMIT 1;
SELECT min(days), max(days) FROM kept WHERE day > 45;
SELECT max(turn) AS turns FROM kept;
SELECT min(record::integer), max(record::integer), count(*) FROM crmsync.history;

-- What somebody has removed is there again.
DELETE FROM crmsync.history_turn;
SELECT crmsync.turn_history();
SELECT turn, since <= now() AS begun FROM crmsync.history_turn;
DROP EXTENSION crmsync;
