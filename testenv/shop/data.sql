-- $1 is the number of units; a unit is about 32 MB with indexes. Values are a function of the row number alone.
INSERT INTO public.pgbench_branches SELECT b, 0, '' FROM generate_series(1, $1::int) b;
INSERT INTO public.pgbench_tellers SELECT t, (t - 1) / 10 + 1, 0, '' FROM generate_series(1, 10 * $1::int) t;
INSERT INTO public.pgbench_accounts SELECT a, (a - 1) / 100000 + 1, 0, '' FROM generate_series(1, 100000 * $1::int) a;
INSERT INTO crm.customers (email, name, home, phones, settings, member)
	SELECT 'c' || n || '@example.org', 'Customer ' || n || CASE n % 7 WHEN 0 THEN ' äöü 漢字 😀' ELSE '' END,
		ROW('Street ' || n % 100, lpad((n % 99999)::text, 5, '0'), CASE n % 11 WHEN 0 THEN NULL ELSE 'Town "' || n % 50 || '"' END, 'DE')::crm.address,
		ARRAY['+49' || n, NULL, ''], jsonb_build_object('newsletter', n % 2 = 0, 'n', n, 'nested', jsonb_build_array(1.0, 1.00, NULL)),
		daterange(date '2020-01-01' + n % 1000, CASE WHEN n % 3 = 0 THEN NULL ELSE date '2030-01-01' END)
	FROM generate_series(1, 10000 * $1::int) n;
INSERT INTO shop.products (sku, title, price, weight_g, tags, stock)
	SELECT 'SKU-' || n, 'Product ' || md5(n::text), (n % 10000) / 100.0, CASE n % 5 WHEN 0 THEN 'NaN' ELSE n / 3.0 END, ARRAY['t' || n % 9], n
	FROM generate_series(1, 2000 * $1::int) n;
INSERT INTO shop.documents (sku, body, picture)
	SELECT 'SKU-' || n, (SELECT string_agg(md5((n * 1000 + i)::text), '') FROM generate_series(1, 20 + n % 200) i), decode(md5(n::text), 'hex')
	FROM generate_series(1, 1000 * $1::int) n;
INSERT INTO shop.orders (placed_at, customer, state, note)
	SELECT timestamptz '2025-01-01' + n % 900 * interval '1 day' + n * interval '1 millisecond', n % (10000 * $1::int) + 1,
		(enum_range(NULL::shop.order_state))[n % 5 + 1], CASE n % 4 WHEN 0 THEN E'line one\nline\ttwo \\ three' END
	FROM generate_series(1, 20000 * $1::int) n;
INSERT INTO shop.items (order_id, placed_at, line, sku, amount, price)
	SELECT o.id, o.placed_at, l, 'SKU-' || (o.id * l) % (2000 * $1::int) + 1, l, l * 1.5 FROM shop.orders o, generate_series(1, 2) l;
INSERT INTO shop.invoices (order_id, placed_at, amount) SELECT id, placed_at, 12.34 FROM shop.orders WHERE id % 4 = 0;
INSERT INTO audit.events SELECT timestamptz '2026-01-01' + (n / 3) * interval '1 s', CASE n % 4 WHEN 0 THEN NULL ELSE 'user' || n % 10 END,
		'event ' || n / 3, json_build_object('n', n / 3) FROM generate_series(1, 2000 * $1::int) n;
INSERT INTO shop.stock SELECT n % 5 + 1, 'SKU-' || n, n, timestamptz '2026-03-03' + n * interval '1 minute', NULL FROM generate_series(1, 1000 * $1::int) n;
INSERT INTO audit.log (message) SELECT 'message ' || n FROM generate_series(1, 1000 * $1::int) n;
INSERT INTO audit.log_archive (message) SELECT 'archived ' || n FROM generate_series(1, 1000 * $1::int) n;
INSERT INTO "Back Office"."Staff Members" SELECT md5(n::text)::uuid, n * interval '1 month 3 days 04:05:06.789', ('10.0.' || n % 256 || '.0/24')::inet,
		(n % 65536)::bit(16), point(n, -n / 3.0) FROM generate_series(1, 500) n;
INSERT INTO "Back Office"."Inbox" SELECT n, repeat('x', n % 50) FROM generate_series(1, 200) n;
SELECT setval('shop.countdown', -5000);
REFRESH MATERIALIZED VIEW shop.sales;
ANALYZE;
