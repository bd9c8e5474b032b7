from nova_rbd_multistore.driver import LibvirtDriver  # noqa: F401
