CREATE ACCESS METHOD heap2 TYPE TABLE HANDLER heap_tableam_handler;
CREATE TABLE public.customers (id int PRIMARY KEY, name text) USING heap2;
CREATE TABLE public.orders (id int, customer int REFERENCES public.customers) PARTITION BY RANGE (id);
CREATE TABLE public.orders_1 PARTITION OF public.orders FOR VALUES FROM (1) TO (9);
CREATE INDEX by_customer ON public.orders (customer);
COMMENT ON TABLE public.customers IS 'people';
SELECT lo_from_bytea(4711, 'x');
