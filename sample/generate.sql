-- Fills the sample CRM, set-based and without chance: the same call makes the same rows.

-- One of the choices, by number; strides that have no common divisor keep neighbours apart.
CREATE FUNCTION crm.pick(choices text[], number bigint) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN choices[1 + number % cardinality(choices)];
COMMENT ON FUNCTION crm.pick IS 'one of the choices, by number';

CREATE FUNCTION crm.generate_users(users integer, domain text DEFAULT 'example.com') RETURNS void
LANGUAGE sql
SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    INSERT INTO crm.app_user (login, first_name, last_name, email, title, department, uses_outlook)
    SELECT format('user%s', i),
           crm.pick('{Anna,Bela,Chiara,David,Elif,Farid,Greta,Hugo,Ines,Jan}', i),
           crm.pick('{Adler,Brandt,Costa,Dubois,Engel,Fischer,Garcia,Horvat,Ivanova,Jansen,Keller}', i / 3),
           format('user%s@%s', i, domain),
           crm.pick('{Adviser,Assistant,Manager}', i / 7),
           crm.pick('{Advice,Service,Sales,Office}', i / 5),
           true
    FROM generate_series(1, users) i;

    INSERT INTO crm.user_group (name)
    SELECT format('Team %s', i) FROM generate_series(1, greatest(users / 10, 1)) i
    ON CONFLICT DO NOTHING;

    INSERT INTO crm.group_member (group_id, user_id)
    SELECT g.id, u.id
    FROM (SELECT id, row_number() OVER (ORDER BY id) AS n, count(*) OVER () AS groups FROM crm.user_group) g
    JOIN (SELECT id, row_number() OVER (ORDER BY id) AS n FROM crm.app_user) u
        ON u.n % g.groups IN (g.n % g.groups, (g.n + 3) % g.groups)
    ON CONFLICT DO NOTHING;
END;
COMMENT ON FUNCTION crm.generate_users IS 'users with mailboxes, in groups of about ten';

-- People for the users that use Outlook. team_size: how many of them cover each person.
CREATE FUNCTION crm.generate_people(people integer, team_size integer DEFAULT 2, only_people boolean DEFAULT false)
RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    first_id bigint := coalesce((SELECT max(p.id) FROM crm.person p), 0);
    adviser bigint[] := ARRAY(SELECT u.id FROM crm.app_user u WHERE u.uses_outlook ORDER BY u.id);
    user_groups bigint[] := ARRAY(SELECT DISTINCT m.group_id FROM crm.group_member m
                                  WHERE m.user_id = ANY (adviser) ORDER BY 1);
    organizations bigint[];
BEGIN
    IF cardinality(adviser) = 0 THEN
        RAISE EXCEPTION 'nobody uses Outlook' USING HINT = 'Set crm.app_user.uses_outlook first.';
    END IF;

    -- Of a hundred rows: 80 people, 5 users as people, 8 organizations, 5 households, 2 departments;
    -- of the people, one in twenty is private and one in ten is for a group.
    INSERT INTO crm.person (id, class, title, first_name, initials, last_name, position, department, birth_date,
                            website, language, segment, rating, view_security, view_group_id, owner_id, notes)
    SELECT first_id + i, class,
           CASE WHEN human AND i % 9 = 0 THEN 'Dr.' END,
           CASE WHEN human THEN crm.pick('{Aaron,Bianca,Carlos,Daria,Emil,Fatima,Georg,Helena,Igor,Julia,Kofi,Laura,Milan,Nora,Oskar,Petra,Quentin,Rosa,Stefan,Tamara,Ulrich,Vera,Werner,Xenia,Yusuf,Zoë,Jürgen,Łukasz,Søren}', i) END,
           CASE WHEN human AND i % 3 = 0 THEN crm.pick('{A.,B.,C.,D.,E.,F.,G.}', i / 3) END,
           crm.pick('{Albrecht,Becker,Conti,Dvořák,Eriksen,Ferreira,Gonzalez,Hofmann,Ito,Jankowski,Kovács,Lindqvist,Moreau,Novak,O''Brien,Papadopoulos,Quinn,Rossi,Schmidt,Tanaka,Ünal,Vogel,Weber,Ximenes,Yilmaz,Zimmermann}', i / 7)
               || CASE class WHEN 'Organization' THEN ' & Co ' || i WHEN 'Household' THEN ' family'
                             WHEN 'Department' THEN ' department' ELSE '' END,
           CASE WHEN human THEN crm.pick('{Engineer,Accountant,Managing Director,Teacher,Physician,Lawyer,Architect,Purchasing Manager,Owner}', i / 11) END,
           CASE WHEN human THEN crm.pick('{Finance,Production,Sales,Research,Legal}', i / 13) END,
           CASE WHEN human THEN date '1940-01-01' + (i::bigint * 7919 % 23000)::integer END,
           CASE WHEN class = 'Organization' THEN format('https://www.company%s.example', i) END,
           crm.pick('{en,de,fr,it,es}', i / 5),
           crm.pick('{private,business,premium}', i / 17),
           i % 5 + 1,
           security,
           CASE security WHEN 'group' THEN user_groups[1 + i % cardinality(user_groups)] END,
           adviser[1 + i::bigint * 13 / 7 % cardinality(adviser)],
           CASE WHEN i % 10 = 0 THEN format('Met at the trade fair, wants an offer for contract %s.', i) END
    FROM (SELECT n.i, n.class, n.class IN ('Person', 'UserPerson') AS human,
                 CASE WHEN only_people THEN 'public'
                      WHEN n.i % 20 = 7 THEN 'private'
                      WHEN n.i % 10 = 3 AND cardinality(user_groups) > 0 THEN 'group'
                      ELSE 'public' END::crm.security AS security
          FROM (SELECT s AS i, CASE WHEN only_people OR s % 100 < 80 THEN 'Person' WHEN s % 100 < 85 THEN 'UserPerson'
                                    WHEN s % 100 < 93 THEN 'Organization' WHEN s % 100 < 98 THEN 'Household'
                                    ELSE 'Department' END::crm.person_class AS class
                FROM generate_series(1, people) s) n) rows;

    organizations := ARRAY(SELECT p.id FROM crm.person p
                           WHERE p.class = 'Organization' AND p.id > first_id ORDER BY p.id);
    UPDATE crm.person p
    SET organization_id = organizations[1 + p.id % cardinality(organizations)]
    WHERE p.id > first_id AND p.class = 'Person' AND cardinality(organizations) > 0;

    INSERT INTO crm.telecom (person_id, kind, is_default, value)
    SELECT p.id, t.kind::crm.telecom_kind, t.is_default, t.value
    FROM crm.person p
    CROSS JOIN LATERAL (VALUES
        ('business', true, format('+49 30 %s-%s', 100000 + p.id % 900000, p.id % 90 + 10)),
        ('home', true, format('+49 89 %s', 2000000 + p.id)),
        ('mobile', true, format('+49 171 %s', 5000000 + p.id)),
        ('mobile', false, format('+49 172 %s', 6000000 + p.id)),
        ('fax', true, format('+49 30 %s-99', 100000 + p.id % 900000)),
        ('email', true, format('contact%s@company%s.example', p.id, p.id % 997))) t (kind, is_default, value)
    WHERE p.id > first_id AND (t.kind IN ('business', 'email') OR p.class IN ('Person', 'UserPerson'));

    INSERT INTO crm.address (person_id, kind, is_default, street, city, state, postal_code, country)
    SELECT p.id, a.kind::crm.address_kind, true,
           crm.pick('{Main Street,Station Road,Bergstraße,Rue de la Gare,Via Roma,Calle Mayor}', p.id / a.stride) || ' ' || p.id % 200 + 1,
           crm.pick('{Berlin,Lyon,Milano,Sevilla,Graz,Leeds,Łódź}', p.id / a.stride),
           crm.pick('{Berlin,Rhône,Lombardia,Andalucía,Steiermark,Yorkshire,Łódź}', p.id / a.stride),
           (10000 + p.id * a.stride % 89999)::text,
           crm.pick('{Germany,France,Italy,Spain,Austria,United Kingdom,Poland}', p.id / a.stride)
    FROM crm.person p
    CROSS JOIN (VALUES ('business', 3), ('home', 5)) a (kind, stride)
    WHERE p.id > first_id AND (a.kind = 'business' OR p.class IN ('Person', 'UserPerson'));

    INSERT INTO crm.coverage (person_id, user_id, team, role)
    SELECT p.id, adviser[1 + ((p.id - first_id) * 13 / 7 + member * 7) % cardinality(adviser)], 'Advice',
           CASE member WHEN 0 THEN 'Lead' ELSE 'Adviser' END
    FROM crm.person p CROSS JOIN generate_series(0, team_size - 1) member
    WHERE p.id > first_id
    ON CONFLICT DO NOTHING;

    IF NOT only_people THEN
        INSERT INTO crm.personal_list (user_id, person_id)
        SELECT adviser[1 + (p.id / 25) % cardinality(adviser)], p.id
        FROM crm.person p
        WHERE p.id > first_id AND p.id % 25 = 0
        ON CONFLICT DO NOTHING;
    END IF;

    PERFORM setval(pg_get_serial_sequence('crm.person', 'id'), first_id + people);
END;
$$;
COMMENT ON FUNCTION crm.generate_people IS 'people with numbers, addresses, coverage teams and security, for the users that use Outlook';
